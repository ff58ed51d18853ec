package clickhouse

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/ledgerline-es/ledgerline/internal/embedded/clickhouse/chdb"
)

// statusOf is ClickHouse's own choice of an HTTP status for an error code. Clients tell retry from refusal by it.
func statusOf(code int) int {
	switch code {
	case 194: // REQUIRED_PASSWORD
		return http.StatusUnauthorized
	case 192, 193, 291, 497, 516: // unknown user, wrong password, access denied
		return http.StatusForbidden
	case 6, 25, 26, 27, 33, 36, 38, 41, 43, 53, 62, 69, 72, 117, 167, 168, 171, 254, 427: // the text is wrong
		return http.StatusBadRequest
	case 16, 46, 47, 50, 56, 60, 63, 73, 80, 81, 115, 372, 511: // something named in it does not exist
		return http.StatusNotFound
	case 159:
		return http.StatusRequestTimeout
	case 307, 1003:
		return http.StatusRequestEntityTooLarge
	case 48:
		return http.StatusNotImplemented
	case 210, 209, 236: // network, socket timeout, aborted: we are going down
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

var (
	errReadOnlyGet   = chdb.Errorf(164, "READONLY", "Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly. You should use method POST for modifying queries")
	errReadOnlyUser  = chdb.Errorf(164, "READONLY", "This user may only read")
	errExternal      = chdb.Errorf(48, "NOT_IMPLEMENTED", "The embedded engine does not support external tables")
	errStatementSize = chdb.Errorf(307, "QUERY_IS_TOO_LARGE", "The statement is larger than %d bytes", maxQuery)
	errGoingDown     = chdb.Errorf(236, "ABORTED", "The server is shutting down")
	errSessionGone   = chdb.Errorf(372, "SESSION_NOT_FOUND", "Session not found")
	errSessionLocked = chdb.Errorf(373, "SESSION_IS_LOCKED", "Session is locked by a concurrent client")
)

// asEngineError gives every failure a code.
func asEngineError(err error) *chdb.Error {
	if e, ok := errors.AsType[*chdb.Error](err); ok {
		return e
	}
	return &chdb.Error{Code: chdb.UnknownException, Message: err.Error()}
}

// textOf is an error as ClickHouse words it for the body: with its version at the end, once.
func textOf(e *chdb.Error, version string) string {
	text := strings.TrimSpace(e.Message)
	if !strings.HasPrefix(text, "Code: ") {
		text = "Code: " + strconv.Itoa(e.Code) + ". DB::Exception: " + text
	}
	if !strings.Contains(text, " (version ") {
		text += " (version " + version + ")"
	}
	return text
}
