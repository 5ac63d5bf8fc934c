// Copyright The runv-legacy Authors.
// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestFirstRealErrorOfALog(t *testing.T) {
	for name, c := range map[string]struct {
		log  string
		want CompileError
	}{
		"compiler, among warnings and a parallel job": {`
  CC      a.o
  CC      kernel/b.o
a.c: In function 'main':
a.c:2:21: warning: unused variable 'x' [-Wunused-variable]
    2 | int main(void){ int x; }
      |                     ^
kernel/b.c: In function 'g':
kernel/b.c:3:17: error: expected ';' before '}' token
    3 |         return 1
      |                 ^
kernel/b.c:9:1: error: expected something else
make[1]: *** [scripts/Makefile.build:229: kernel/b.o] Error 1
make: *** Waiting for unfinished jobs....
`, CompileError{File: "kernel/b.c", Line: 3, Message: "expected ';' before '}' token"}},
		"missing header, by its absolute name": {`
In file included from include/linux/compiler.h:40,
                 from <command-line>:
/src/linux/include/linux/compiler-gcc.h:130:12: fatal error: linux/compiler-gcc12.h: No such file or directory
  130 | #include gcc_header(__GNUC__)
      |            ^~~~
compilation terminated.
make[1]: *** [/src/linux/scripts/Makefile.build:118: kernel/bounds.s] Error 1
`, CompileError{File: "include/linux/compiler-gcc.h", Line: 130, Message: "linux/compiler-gcc12.h: No such file or directory"}},
		"compiler before the first line": {`
cc1: error: code model kernel does not support PIC mode
make[2]: *** [scripts/Makefile.build:229: scripts/mod/empty.o] Error 1
`, CompileError{Message: "cc1: error: code model kernel does not support PIC mode"}},
		"unknown option": {`
gcc: error: unrecognized command-line option '-fnonesuch'
make[1]: *** [Kbuild:36: kernel/bounds.s] Error 1
`, CompileError{Message: "gcc: error: unrecognized command-line option '-fnonesuch'"}},
		"compiler killed": {`
  CC      kernel/sched.o
gcc: fatal error: Killed signal terminated program cc1
compilation terminated.
make[1]: *** [scripts/Makefile.build:229: kernel/sched.o] Error 1
`, CompileError{Message: "Killed signal terminated program cc1 (out of memory?)"}},
		"compiler without memory": {`
virtual memory exhausted: Cannot allocate memory
make: *** [scripts/Makefile.build:229: kernel/sched.o] Error 1
`, CompileError{Message: "virtual memory exhausted: Cannot allocate memory (out of memory?)"}},
		"job killed": {`
  LD      vmlinux
make[1]: *** [Makefile:713: vmlinux] Killed
make: *** [Makefile:12: all] Error 2
`, CompileError{File: "Makefile", Line: 713, Message: "vmlinux] Killed (out of memory?)"}},
		"assembler": {`
  AS      arch/x86/lib/copy.o
arch/x86/lib/copy.S: Assembler messages:
arch/x86/lib/copy.S:12: Error: number of operands mismatch for 'mov'
make[1]: *** [scripts/Makefile.build:302: arch/x86/lib/copy.o] Error 1
`, CompileError{File: "arch/x86/lib/copy.S", Line: 12, Message: "number of operands mismatch for 'mov'"}},
		"assembler on a full disk": {`
/tmp/ccYXk4Pj.s: Assembler messages:
/tmp/ccYXk4Pj.s: Fatal error: can't fill 256 bytes in section .data of t/big.o: 'No space left on device'
`, CompileError{File: "/tmp/ccYXk4Pj.s", Message: "can't fill 256 bytes in section .data of t/big.o: 'No space left on device'"}},
		"undefined symbol": {"\n" +
			"ld: warning: .tmp_vmlinux1 has a LOAD segment with RWX permissions\n" +
			"ld: init/built-in.o: in function `main':\n" +
			"main.c:(.text+0x5): undefined reference to `f'\n" +
			"make: *** [Makefile:713: .tmp_vmlinux1] Error 1\n",
			CompileError{File: "main.c", Message: "undefined reference to `f'"}},
		"undefined symbol with debug information": {"\n" +
			"ld: undef.o: in function `main':\n/src/linux/init/undef.c:7: undefined reference to `f'\n",
			CompileError{File: "init/undef.c", Line: 7, Message: "undefined reference to `f'"}},
		"symbol twice, after the harmless warning": {"\n" +
			"ld: .tmp_vmlinux1:(*ABS*+0xffffffff811638c0): warning: multiple definition of `jiffies_64'; kernel/built-in.o:(.data+0x27f8): first defined here\n" +
			"ld: d2.o:(.data+0x0): multiple definition of `tty_port_users'; d1.o:(.data+0x0): first defined here\n" +
			"make: *** [Makefile:713: .tmp_vmlinux1] Error 1\n",
			CompileError{File: "d2.o", Message: "multiple definition of `tty_port_users'; d1.o:(.data+0x0): first defined here"}},
		"symbol twice with debug information": {"\n" +
			"/usr/bin/ld: d2.o:/src/linux/fs/d2.c:4: multiple definition of `x'; d1.o:/src/linux/fs/d1.c:1: first defined here\n" +
			"collect2: error: ld returned 1 exit status\n",
			CompileError{File: "fs/d2.c", Line: 4, Message: "multiple definition of `x'; d1.o:fs/d1.c:1: first defined here"}},
		"link on a full disk": {`
ld: final link failed: No space left on device
make: *** [Makefile:713: vmlinux] Error 1
`, CompileError{Message: "final link failed: No space left on device"}},
		"no linker script": {`
ld: cannot open linker script file nothere.lds: No such file or directory
`, CompileError{Message: "cannot open linker script file nothere.lds: No such file or directory"}},
		"linker script": {`
ld:arch/x86/kernel/vmlinux.lds:10: syntax error
`, CompileError{File: "arch/x86/kernel/vmlinux.lds", Line: 10, Message: "syntax error"}},
		"compressor on a full disk": {`

gzip: stdout: No space left on device
make[2]: *** [arch/x86/boot/compressed/Makefile:46: arch/x86/boot/compressed/vmlinux.bin.gz] Error 1
`, CompileError{Message: "gzip: stdout: No space left on device"}},
		"perl": {`
  TIMEC   kernel/timeconst.h
Can't use 'defined(@array)' (Maybe you should just omit the defined()?) at kernel/timeconst.pl line 373.
make[1]: *** [/src/linux/kernel/Makefile:129: kernel/timeconst.h] Error 255
`, CompileError{File: "kernel/timeconst.pl", Line: 373, Message: "Can't use 'defined(@array)' (Maybe you should just omit the defined()?)"}},
		"perl warns and the compiler fails": {`
Use of uninitialized value $x in print at scripts/gen.pl line 7.
arch/x86/include/asm/bitops.h:199: Warning: no instruction mnemonic suffix given; using default for 'bts'
kernel/b.c:3:17: error: expected ';' before '}' token
`, CompileError{File: "kernel/b.c", Line: 3, Message: "expected ';' before '}' token"}},
		"flex": {`
f.l:3: EOF encountered inside an action
make[1]: *** [scripts/Makefile.host:9: scripts/kconfig/lexer.lex.c] Error 1
`, CompileError{File: "scripts/Makefile.host", Line: 9, Message: "scripts/kconfig/lexer.lex.c] Error 1"}},
		"bison": {`
b.y:2.6-8: error: symbol 'bar' is used, but is not defined as a token and has no rules
`, CompileError{File: "b.y", Line: 2, Message: "symbol 'bar' is used, but is not defined as a token and has no rules"}},
		"program missing, in a shell": {`
/bin/sh: 1: flex: not found
make[1]: *** [scripts/Makefile.host:9: scripts/kconfig/lexer.lex.c] Error 127
`, CompileError{Message: "flex: not found"}},
		"program missing, in a script": {`
scripts/gen.sh: 3: bc: not found
make: *** [Kbuild:21: include/generated/timeconst.h] Error 127
`, CompileError{File: "scripts/gen.sh", Line: 3, Message: "bc: not found"}},
		"program missing, in make": {`
make: flex: No such file or directory
make: *** [m1:2: all] Error 127
`, CompileError{Message: "flex: No such file or directory"}},
		"no rule": {`
make[1]: *** No rule to make target 'kernel/gone.o', needed by 'kernel/built-in.o'.  Stop.
make: *** [Makefile:837: kernel] Error 2
`, CompileError{Message: "No rule to make target 'kernel/gone.o', needed by 'kernel/built-in.o'"}},
		"error of a Makefile": {`
arch/x86/Makefile:155: *** CONFIG_RETPOLINE=y, but not supported by the compiler.  Stop.
`, CompileError{File: "arch/x86/Makefile", Line: 155, Message: "CONFIG_RETPOLINE=y, but not supported by the compiler"}},
		"syntax of a Makefile": {`
m4:2: *** missing separator.  Stop.
`, CompileError{File: "m4", Line: 2, Message: "missing separator"}},
		"nothing but make's own word": {`
  GEN     foo
make[1]: *** [scripts/Makefile.build:10: foo] Error 3
make: *** [Makefile:1: all] Error 2
`, CompileError{File: "scripts/Makefile.build", Line: 10, Message: "foo] Error 3"}},
		"our own command line is none": {`
+ cd /src/linux && env -i make CC='gcc: error: no'
make: *** [Makefile:1: all] Error 2
`, CompileError{File: "Makefile", Line: 1, Message: "all] Error 2"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := firstError(strings.NewReader(c.log), "/src/linux")
			if !ok {
				t.Fatal("no error found")
			}
			if got.File != c.want.File || got.Line != c.want.Line || got.Message != c.want.Message {
				t.Errorf("got  %q:%d %q\nwant %q:%d %q", got.File, got.Line, got.Message, c.want.File, c.want.Line, c.want.Message)
			}
		})
	}
	if e, ok := firstError(strings.NewReader("  CC      a.o\na.c:1:2: warning: error: \n"), "/"); ok {
		t.Errorf("an error in a log without one: %v", e)
	}
}

func TestFailedMakeNamesErrorAndLog(t *testing.T) {
	k := newTiny(t, t.TempDir())
	_, err := k.Build(t.Context(), k.with("CONFIG_BROKEN_C=y\n"), BuildOptions{Jobs: 1}, nil)
	var ce *CompileError
	if !errors.As(err, &ce) {
		t.Fatalf("error %v, want a *CompileError", err)
	}
	if ce.File != "kernel/broken.c" || ce.Line != 2 || !strings.Contains(ce.Message, "undeclared") {
		t.Errorf("error %+v", ce)
	}
	if log, err := os.ReadFile(ce.Log); err != nil || !strings.Contains(string(log), "undeclared") || filepath.Dir(ce.Log) != k.path(logsDir) {
		t.Errorf("log %s: %v\n%s", ce.Log, err, log)
	}
	if want := "kernel/broken.c:2: " + ce.Message + " (log: " + ce.Log + ")"; err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("error %q has several lines", err)
	}
	k.mustBuild(k.recipe, BuildOptions{}, nil)
}

func TestCauseOfACompileError(t *testing.T) {
	for msg, want := range map[string]error{
		"final link failed: No space left on device":               syscall.ENOSPC,
		"Killed signal terminated program cc1 (out of memory?)":    syscall.ENOMEM,
		"can't fill 256 bytes in .data: 'No space left on device'": syscall.ENOSPC,
	} {
		if err := error(&CompileError{Message: msg, Err: errors.New("exit status 2")}); !errors.Is(err, want) {
			t.Errorf("%q is not %v", msg, want)
		}
	}
}

func FuzzFirstError(f *testing.F) {
	f.Add("a.c:1:2: error: x\n", "/src")
	f.Add("make: *** [a:1: b] Killed\n", "/src")
	f.Add("ld: a.o:(.text+0x1): multiple definition of `x'; b.o: first\n", "")
	f.Fuzz(func(t *testing.T, log, dir string) {
		e, ok := firstError(strings.NewReader(log), dir)
		if ok && (e == nil || e.Line < 0 || strings.Contains(e.Message, "\n")) {
			t.Errorf("firstError(%q) = %+v", log, e)
		}
	})
}
