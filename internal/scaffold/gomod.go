package scaffold

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
)

// writeModule writes go.mod and go.sum.
func (o Options) writeModule(dir string) error {
	mod, sum, err := o.requirements(dir)
	if err != nil {
		return err
	}
	if err := write(dir, "go.mod", mod); err != nil {
		return err
	}
	return write(dir, "go.sum", sum)
}

// ExampleModule writes go.mod and go.sum of examples/orders, in dir, as a new module would have them.
func ExampleModule(dir, checkout string) error {
	return Options{Name: exampleName, Module: exampleModule, Checkout: checkout}.writeModule(dir)
}

// requirements are go.mod and go.sum of the new module: those of the checkout, so that nothing has to be looked up, and a
// `replace` to it while there is no release to require.
func (o Options) requirements(dir string) (mod, sum []byte, err error) {
	path := filepath.Join(o.Checkout, "go.mod")
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("the folder of Ledgerline's source: %w", err)
	}
	platform, err := modfile.Parse(path, text, nil)
	if err != nil {
		return nil, nil, err
	}
	if platform.Module == nil || platform.Module.Mod.Path != Platform {
		return nil, nil, fmt.Errorf("%s is not the module %s: give the folder of Ledgerline's source", path, Platform)
	}
	if sum, err = os.ReadFile(filepath.Join(o.Checkout, "go.sum")); err != nil {
		return nil, nil, err
	}
	to, err := relative(dir, o.Checkout)
	if err != nil {
		return nil, nil, err
	}
	f := new(modfile.File)
	if err := f.AddModuleStmt(o.Module); err != nil {
		return nil, nil, err
	}
	if err := f.AddGoStmt(platform.Go.Version); err != nil {
		return nil, nil, err
	}
	if err := f.AddReplace(Platform, "", to, ""); err != nil {
		return nil, nil, err
	}
	all := []*modfile.Require{{Mod: module.Version{Path: Platform, Version: "v0.0.0"}}}
	for _, r := range platform.Require {
		all = append(all, &modfile.Require{Mod: r.Mod, Indirect: true})
	}
	f.SetRequireSeparateIndirect(all)
	f.Cleanup()
	mod, err = f.Format()
	return mod, sum, err
}

// relative is how go.mod in dir names a folder.
func relative(dir, to string) (string, error) {
	from, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if to, err = filepath.Abs(to); err != nil {
		return "", err
	}
	path, err := filepath.Rel(from, to)
	if err != nil {
		return "", err
	}
	if path == "." || path[0] != '.' {
		path = "./" + path
	}
	return filepath.ToSlash(path), nil
}
