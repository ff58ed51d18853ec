// Package dashboard makes deploy/grafana/dashboards/analytics.json out of the bank's questions, so that a panel asks what
// its question's file says, and what a parameter's default is stands in one place.
//
// A parameter becomes the dashboard's time range (from, to), one of its variables where it has one of that name, or its
// default. Values stand in the statement as CAST('…', 'Type'), quoted by Grafana.
package dashboard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/ledgerline-es/ledgerline/analytics"
)

//go:generate go run ./cmd/dashboard ../../deploy/grafana/dashboards/analytics.json

// Names that the provisioning of data sources gives.
const (
	sourceUID  = "ledgerline-clickhouse"
	sourceType = "grafana-clickhouse-datasource"
)

// look is how a question is shown.
type look struct {
	question string
	kind     string // of panel
	width    int    // of 24
	height   int
	bars     bool // of a time series
	stacked  bool
}

var looks = []look{
	{question: "bank-balance", kind: "timeseries", width: 12, height: 9},
	{question: "daily-volume", kind: "timeseries", width: 12, height: 9, bars: true, stacked: true},
	{question: "categories", kind: "table", width: 12, height: 10},
	{question: "balance-distribution", kind: "table", width: 12, height: 10},
	{question: "top-accounts", kind: "table", width: 12, height: 12},
	{question: "unusual-transactions", kind: "table", width: 12, height: 12},
}

// The formats of a query's answer, as the data source numbers them.
const (
	formatTimeSeries = 0
	formatTable      = 1
)

type object = map[string]any

// JSON is the dashboard of a catalogue. Each question must have a look, and each look a question.
func JSON(c *analytics.Catalogue) ([]byte, error) {
	source := object{"type": sourceType, "uid": sourceUID}
	var panels []object
	x, y := 0, 0
	for i, l := range looks {
		q, err := c.Query(l.question)
		if err != nil {
			return nil, fmt.Errorf("a panel has no question: %w", err)
		}
		format, queryType := formatTable, "table"
		if l.kind == "timeseries" {
			format, queryType = formatTimeSeries, "timeseries"
		}
		panels = append(panels, object{
			"id": i + 1, "type": l.kind, "title": q.Title, "description": describe(q), "datasource": source,
			"gridPos":     object{"x": x, "y": y, "w": l.width, "h": l.height},
			"fieldConfig": l.fields(), "options": l.options(),
			"targets": []object{{"refId": "A", "datasource": source, "editorType": "sql", "queryType": queryType, "format": format, "rawSql": statement(q)}},
		})
		if x += l.width; x >= 24 {
			x, y = 0, y+l.height
		}
	}
	for _, q := range c.Queries() {
		if !asked(q.Name) {
			return nil, fmt.Errorf("question %s has no panel: say in looks how it is shown", q.Name)
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	err := e.Encode(object{
		"uid": "ledgerline-analytics", "title": "Ledgerline: analytics", "tags": []string{"ledgerline"}, "schemaVersion": 39, "version": 1, "editable": false,
		"description": "The questions of the catalogue, asked of ClickHouse. Amounts are in minor units of their currency; no figure adds two currencies.",
		"refresh":     "1m", "time": object{"from": "now-2y", "to": "now"}, "timezone": "utc", "graphTooltip": 1,
		"templating": object{"list": variables()}, "annotations": object{"list": []object{}}, "panels": panels,
	})
	return b.Bytes(), err
}

func asked(name string) bool {
	for _, l := range looks {
		if l.question == name {
			return true
		}
	}
	return false
}

func describe(q analytics.Query) string { return strings.TrimSpace(q.Answers + "\n\n" + q.Notes) }

// variables are what stands above the panels. The names are those of parameters.
func variables() []object {
	choice := func(name, label, current string, options ...string) object {
		var list []object
		for _, o := range options {
			list = append(list, object{"text": o, "value": o, "selected": o == current})
		}
		return object{
			"name": name, "label": label, "type": "custom", "query": strings.Join(options, ","), "options": list,
			"current": object{"text": current, "value": current}, "multi": false, "includeAll": false,
		}
	}
	return []object{
		{"name": "currency", "label": "Currency (empty: each)", "type": "textbox", "query": "", "current": object{"text": "", "value": ""}},
		choice("step", "Period", "month", "day", "week", "month", "quarter", "year"),
		choice("top", "Accounts", "20", "10", "20", "50", "100"),
		choice("days", "Unusual in the last days", "31", "7", "31", "92", "366", "3660"),
		choice("fence", "Unusual from widths", "3", "1.5", "2", "3", "5"),
	}
}

var placeholder = regexp.MustCompile(`\{([a-z][a-z0-9_]*):([A-Za-z0-9]+)\}`)

// statement is a question's SQL with Grafana's words for its parameters.
func statement(q analytics.Query) string {
	defaults := map[string]string{}
	for _, p := range q.Params {
		defaults[p.Name] = p.Default
	}
	variable := map[string]bool{}
	for _, v := range variables() {
		variable[v["name"].(string)] = true
	}
	return placeholder.ReplaceAllStringFunc(q.SQL, func(text string) string {
		m := placeholder.FindStringSubmatch(text)
		name, typ := m[1], m[2]
		switch {
		case name == "from" || name == "to":
			return fmt.Sprintf("to%s($__%sTime)", typ, name)
		case variable[name]:
			return fmt.Sprintf("CAST(${%s:singlequote}, '%s')", name, typ)
		}
		return fmt.Sprintf("CAST('%s', '%s')", strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(defaults[name]), typ)
	})
}

func (l look) fields() object {
	defaults := object{"custom": object{}}
	if l.kind == "timeseries" {
		custom := object{"drawStyle": "line", "lineInterpolation": "stepAfter", "fillOpacity": 10, "showPoints": "auto"}
		if l.bars {
			custom = object{"drawStyle": "bars", "fillOpacity": 60, "lineWidth": 0}
		}
		if l.stacked {
			custom["stacking"] = object{"mode": "normal", "group": "A"}
		}
		defaults = object{"custom": custom, "unit": "short"}
	}
	return object{"defaults": defaults, "overrides": l.overrides()}
}

// overrides hide, in time series, what is no amount of money: it would share an axis with it.
func (l look) overrides() []object {
	list := []object{}
	if l.kind != "timeseries" {
		return list
	}
	for _, name := range []string{"transactions", "change_minor"} {
		list = append(list, object{
			"matcher":    object{"id": "byRegexp", "options": "/^" + name + ".*/"},
			"properties": []object{{"id": "custom.hideFrom", "value": object{"viz": true, "legend": true, "tooltip": false}}},
		})
	}
	return list
}

func (l look) options() object {
	if l.kind == "timeseries" {
		return object{"legend": object{"showLegend": true, "displayMode": "list", "placement": "bottom"}, "tooltip": object{"mode": "multi", "sort": "desc"}}
	}
	return object{"showHeader": true, "cellHeight": "sm"}
}
