// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"github.com/runv-legacy/runv-legacy/kernels/kconfig"
)

// configsDir is the cache's folder of finished configurations.
const configsDir = "configs"

// configRecord is a finished configuration in the cache. Problems refer to
// fragments by number, because the key does not hold their names.
type configRecord struct {
	Key      string          `json:"key"`
	Config   string          `json:"config"`
	SHA256   string          `json:"sha256"`
	Problems []problemRecord `json:"problems,omitempty"`
}

type problemRecord struct {
	Problem  ConfigProblem `json:"problem"`
	Fragment int           `json:"fragment"`
}

// check compares the final .config with the requests.
func (j *job) check(w *workTree, config []byte) ([]problemRecord, error) {
	final, err := kconfig.ParseConfig(bytes.NewReader(config))
	if err != nil {
		return nil, err
	}
	var odd []request
	for _, q := range j.merged() {
		// A symbol that is wanted off and is not in .config may be one that cannot
		// be seen, or one that does not exist.
		if got, ok := final[q.Symbol]; !ok || got != q.Value {
			odd = append(odd, q)
		}
	}
	if len(odd) == 0 {
		return nil, nil
	}
	tree, err := kconfig.LoadTree(w.src(), j.recipe.Arch)
	if err != nil {
		return nil, err
	}
	var problems []problemRecord
	for _, q := range odd {
		got := final.Value(q.Symbol)
		if got == q.Value && tree.Defined(q.Symbol) {
			continue // off, because it cannot be seen
		}
		why := tree.Explain(q.Symbol, q.Value, final)
		problems = append(problems, problemRecord{ConfigProblem{
			Symbol: "CONFIG_" + q.Symbol, Line: q.Line, Wanted: q.Value, Got: got,
			Unknown: !why.Exists, Why: why.Text, Unmet: why.Unmet, Needs: why.Needs,
		}, q.fragment})
	}
	return problems, nil
}

// name gives the problems their fragments' names.
func (j *job) name(records []problemRecord) []ConfigProblem {
	var problems []ConfigProblem
	for _, rec := range records {
		p := rec.Problem
		p.Fragment = "localVersion"
		if rec.Fragment >= 0 && rec.Fragment < len(j.recipe.Fragments) {
			p.Fragment = j.recipe.Fragments[rec.Fragment].Name
		}
		problems = append(problems, p)
	}
	return problems
}

func (j *job) configPath() string { return j.path(configsDir, j.key+".json") }

// cachedConfig is the finished configuration, if there is one and it is whole.
func (j *job) cachedConfig() (ConfigResult, bool) {
	b, err := os.ReadFile(j.configPath())
	if err != nil {
		return ConfigResult{}, false
	}
	var rec configRecord
	if json.Unmarshal(b, &rec) != nil || rec.Key != j.key || rec.SHA256 != hexSHA256([]byte(rec.Config)) {
		return ConfigResult{}, false
	}
	return ConfigResult{Config: []byte(rec.Config), Problems: j.name(rec.Problems)}, true
}

// storeConfig keeps a finished configuration.
func (j *job) storeConfig(config []byte, problems []problemRecord) error {
	b, err := json.Marshal(configRecord{j.key, string(config), hexSHA256(config), problems})
	if err == nil {
		err = os.MkdirAll(filepath.Dir(j.configPath()), 0o755)
	}
	if err == nil {
		err = renameio.WriteFile(j.configPath(), b, 0o644)
	}
	if err != nil {
		return fmt.Errorf("store the configuration: %w", err)
	}
	return nil
}
