package schemas

import (
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// Logical types that need care beyond their bytes.
const (
	logicalDecimal    = "decimal"
	logicalUUID       = "uuid"
	logicalDate       = "date"
	logicalTimeMillis = "time-millis"
	logicalTimeMicros = "time-micros"
)

// decimalFits reports bytes that are no decimal of the schema's precision. It also bounds what comes after: big numbers
// cost more than their size.
func (s *shape) decimalFits(b []byte) error {
	// 10^precision needs precision·log2(10) bits and a sign; clients may write a few bytes more than they must.
	if most := s.precision*10/3/8 + 8; len(b) > most {
		return fmt.Errorf("%w: a %s of %d bytes, at most %d", ErrMalformed, s.described(), len(b), most)
	}
	if digits := decimalDigits(unscaled(b)); digits > s.precision {
		return fmt.Errorf("%w: a %s of %d digits", ErrMalformed, s.described(), digits)
	}
	return nil
}

func decimalDigits(n *big.Int) int { return len(new(big.Int).Abs(n).String()) }

// timeOfDayFits reports a time of day that no day has.
func (s *shape) timeOfDayFits(n int64) error {
	day := (24 * time.Hour).Milliseconds()
	switch s.logical {
	case logicalTimeMicros:
		day = (24 * time.Hour).Microseconds()
	case logicalTimeMillis:
	default:
		return nil
	}
	if n < 0 || n >= day {
		return fmt.Errorf("%w: a %s of %d", ErrMalformed, s.logical, n)
	}
	return nil
}

// unscaled reads two's complement, big end first.
func unscaled(b []byte) *big.Int {
	n := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(len(b))*8))
	}
	return n
}

// twosComplement is the reverse of unscaled, in as few bytes as hold it.
func twosComplement(n *big.Int) []byte {
	if n.Sign() >= 0 {
		b := n.Bytes()
		if len(b) == 0 || b[0]&0x80 != 0 {
			b = append([]byte{0}, b...)
		}
		return b
	}
	bytes := uint(new(big.Int).Not(n).BitLen()/8 + 1)
	b := new(big.Int).Add(n, new(big.Int).Lsh(big.NewInt(1), bytes*8)).Bytes()
	return b
}

// formatDecimal writes an unscaled number with its point.
func formatDecimal(n *big.Int, scale int) string {
	digits := new(big.Int).Abs(n).String()
	if scale > 0 {
		if missing := scale + 1 - len(digits); missing > 0 {
			digits = strings.Repeat("0", missing) + digits
		}
		digits = digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
	}
	if n.Sign() < 0 {
		return "-" + digits
	}
	return digits
}

// parseDecimal reads a number such as -12.30 exactly, as an unscaled number of this shape's scale.
func (s *shape) parseDecimal(text string) (*big.Int, error) {
	whole, fraction, _ := strings.Cut(text, ".")
	digits := strings.TrimPrefix(whole, "-")
	if digits == "" || strings.HasSuffix(text, ".") || strings.Trim(digits+fraction, "0123456789") != "" {
		return nil, fmt.Errorf("%q is no decimal number: write it like -12.30", text)
	}
	if cut := strings.TrimRight(fraction, "0"); len(cut) > s.scale {
		return nil, fmt.Errorf("%s has more than %d digits after the point", text, s.scale)
	}
	fraction = (fraction + strings.Repeat("0", s.scale))[:s.scale]
	all := strings.TrimLeft(digits+fraction, "0")
	if len(all) > s.precision {
		return nil, fmt.Errorf("%s has more than %d digits", text, s.precision)
	}
	n, _ := new(big.Int).SetString("0"+all, 10)
	if strings.HasPrefix(text, "-") {
		n.Neg(n)
	}
	return n, nil
}

// parseLogicalLong reads the text of a logical type over int or long.
func (s *shape) parseLogicalLong(text string) (int64, error) {
	switch s.logical {
	case logicalDate:
		t, err := time.Parse(time.DateOnly, text)
		if err != nil {
			return 0, fmt.Errorf("%q is no date: write it like 2006-01-02", text)
		}
		return t.Unix() / (24 * 60 * 60), nil
	case logicalTimeMillis, logicalTimeMicros:
		t, err := time.Parse("15:04:05", text) // a fraction may follow the seconds
		if err != nil {
			return 0, fmt.Errorf("%q is no time of day: write it like 15:04:05.000000", text)
		}
		hour, minute, second := t.Clock()
		since := time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute + time.Duration(second)*time.Second + time.Duration(t.Nanosecond())
		if s.logical == logicalTimeMillis {
			return since.Milliseconds(), nil
		}
		return since.Microseconds(), nil
	}
	t, err := ParseTime(text)
	if err != nil {
		return 0, err
	}
	if s.logical == "timestamp-millis" {
		return t.UnixMilli(), nil
	}
	return t.UnixMicro(), nil
}

// formatLogicalLong is the reverse of parseLogicalLong.
func (s *shape) formatLogicalLong(n int64) string {
	switch s.logical {
	case logicalDate:
		return time.Unix(n*24*60*60, 0).UTC().Format(time.DateOnly)
	case logicalTimeMillis:
		return time.UnixMilli(n).UTC().Format("15:04:05.000")
	case logicalTimeMicros:
		return time.UnixMicro(n).UTC().Format("15:04:05.000000")
	case "timestamp-millis":
		return FormatTime(time.UnixMilli(n))
	}
	return FormatTime(time.UnixMicro(n))
}

// parseUUID reads 8-4-4-4-12 hex digits.
func parseUUID(text string) ([]byte, error) {
	digits := strings.ReplaceAll(text, "-", "")
	b, err := hex.DecodeString(digits)
	if err != nil || len(b) != 16 || len(text) != 36 || formatUUID(b) != strings.ToLower(text) {
		return nil, fmt.Errorf("%q is no UUID: write it like 018f4d3c-7a00-7000-8000-000000000000", text)
	}
	return b, nil
}

func formatUUID(b []byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
