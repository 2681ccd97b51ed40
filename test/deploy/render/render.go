// SPDX-License-Identifier: Apache-2.0

// Renders a chart as Helm would, as far as charts need what is here: render CHART NAME NAMESPACE
// VALUES.json prints a JSON object of each template's text. Helm is not in Debian; its templates are
// Go's, with sprig's functions and the few of its own that are added below.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"sigs.k8s.io/yaml"
)

type files struct{ chart string }

// Get is .Files.Get: empty for what is not there, as Helm has it.
func (f files) Get(name string) string {
	text, err := os.ReadFile(filepath.Join(f.chart, name))
	if err != nil {
		return ""
	}
	return string(text)
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func readYAML(path string) map[string]interface{} {
	text, err := os.ReadFile(path)
	fail(err)
	var found map[string]interface{}
	fail(yaml.UnmarshalStrict(text, &found))
	return found
}

// merge puts over into base: objects member by member, all else as a whole; null takes away.
func merge(base, over map[string]interface{}) map[string]interface{} {
	for key, value := range over {
		inside, isObject := value.(map[string]interface{})
		below, hasObject := base[key].(map[string]interface{})
		switch {
		case value == nil:
			delete(base, key)
		case isObject && hasObject:
			base[key] = merge(below, inside)
		default:
			base[key] = value
		}
	}
	return base
}

func functions(all *template.Template) template.FuncMap {
	own := sprig.TxtFuncMap()
	for _, missing := range []string{"env", "expandenv"} { // Helm has them not
		delete(own, missing)
	}
	own["toYaml"] = func(value interface{}) (string, error) {
		text, err := yaml.Marshal(value)
		return strings.TrimSuffix(string(text), "\n"), err
	}
	own["include"] = func(name string, data interface{}) (string, error) {
		var out strings.Builder
		err := all.ExecuteTemplate(&out, name, data)
		return out.String(), err
	}
	own["required"] = func(message string, value interface{}) (interface{}, error) {
		if value == nil || value == "" {
			return nil, errors.New(message)
		}
		return value, nil
	}
	own["fail"] = func(message string) (string, error) { return "", errors.New(message) }
	return own
}

func main() {
	if len(os.Args) != 5 {
		fail(errors.New("usage: render CHART NAME NAMESPACE VALUES.json"))
	}
	chart := os.Args[1]
	described := readYAML(filepath.Join(chart, "Chart.yaml"))
	values := merge(readYAML(filepath.Join(chart, "values.yaml")), readYAML(os.Args[4]))
	data := map[string]interface{}{
		"Values": values,
		"Chart": map[string]interface{}{
			"Name": described["name"], "Version": described["version"], "AppVersion": described["appVersion"]},
		"Release": map[string]interface{}{
			"Name": os.Args[2], "Namespace": os.Args[3], "Service": "Helm", "IsInstall": true, "IsUpgrade": false, "Revision": 1},
		"Files": files{chart},
	}
	all := template.New("chart").Option("missingkey=zero")
	all.Funcs(functions(all))
	names, err := filepath.Glob(filepath.Join(chart, "templates", "*"))
	fail(err)
	for _, name := range names {
		text, err := os.ReadFile(name)
		fail(err)
		_, err = all.New(filepath.Base(name)).Parse(string(text))
		fail(err)
	}
	rendered := map[string]string{}
	for _, name := range names {
		base := filepath.Base(name)
		if strings.HasPrefix(base, "_") {
			continue
		}
		var out strings.Builder
		fail(all.ExecuteTemplate(&out, base, data))
		// What a missing value leaves behind; Helm takes it away.
		rendered[base] = strings.ReplaceAll(out.String(), "<no value>", "")
	}
	fail(json.NewEncoder(os.Stdout).Encode(rendered))
}
