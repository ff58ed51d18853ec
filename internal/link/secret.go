package link

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// secret is a text that is given as it is or in a file.
type secret struct {
	text string
	file string
	flag string // of the file, for errors
	what string // such as "password"
}

// read gives it as it is now: a file may have changed since the last login.
func (s secret) read() (string, error) {
	if s.file == "" {
		return s.text, nil
	}
	data, err := os.ReadFile(s.file)
	if err != nil {
		return "", fmt.Errorf("%s: %w: give the file that holds the %s", s.flag, err, s.what)
	}
	text := strings.TrimRight(string(data), "\r\n")
	switch {
	case text == "":
		return "", fmt.Errorf("%s: %s is empty: write the %s into it", s.flag, s.file, s.what)
	case strings.ContainsAny(text, "\r\n"):
		return "", fmt.Errorf("%s: %s has several lines: write the %s into it and nothing else", s.flag, s.file, s.what)
	}
	return text, nil
}

// check reads it once, and wants one of text and file.
func (s secret) check(env string) error {
	if s.text != "" && s.file != "" {
		return fmt.Errorf("the %s stands in %s and in %s %s: give one of them", s.what, env, s.flag, s.file)
	}
	_, err := s.read()
	return err
}

func (s secret) given() bool { return s.text != "" || s.file != "" }

// belong wants settings that make no sense without another to come with it.
func belong(given bool, setting, without string) error {
	if !given {
		return nil
	}
	return errors.New(setting + " is given without " + without)
}
