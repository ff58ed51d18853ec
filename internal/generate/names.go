package generate

import (
	"go/token"
	"strings"
	"unicode"
)

// initialisms stand in capitals within Go names, as golint has it.
var initialisms = map[string]bool{
	"api": true, "cpu": true, "dns": true, "eof": true, "html": true, "http": true, "https": true, "iban": true, "id": true,
	"ip": true, "iso": true, "json": true, "lsn": true, "rpc": true, "sla": true, "sql": true, "tcp": true, "tls": true,
	"ttl": true, "udp": true, "ui": true, "uri": true, "url": true, "utc": true, "utf8": true, "uuid": true, "vat": true, "xml": true,
}

// goName turns an Avro name into an exported Go name: amount_minor becomes AmountMinor, owner_id OwnerID, DARK_BLUE
// DarkBlue. Avro names hold only letters, digits and underscores, and begin with none of the digits.
func goName(name string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(name, "_") {
		if part == "" {
			continue
		}
		if initialisms[strings.ToLower(part)] {
			b.WriteString(strings.ToUpper(part))
			continue
		}
		if len(part) > 1 && part == strings.ToUpper(part) {
			part = strings.ToLower(part)
		}
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	s := b.String()
	if s == "" || !unicode.IsUpper(rune(s[0])) {
		s = "X" + s // a name of underscores and digits alone
	}
	return s
}

// privateName is goName with its first word in small letters, for the package's own constants.
func privateName(name string) string {
	s := goName(name)
	end := 1
	for end < len(s) && unicode.IsUpper(rune(s[end])) && (end+1 == len(s) || unicode.IsUpper(rune(s[end+1]))) {
		end++
	}
	s = strings.ToLower(s[:end]) + s[end:]
	if token.IsKeyword(s) {
		s += "_"
	}
	return s
}
