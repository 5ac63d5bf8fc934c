#include "textflag.h"

// entry is where process 1 starts when the binary is linked with
// -ldflags "-E main.entry"; linked otherwise, it is unused and the Go runtime
// starts at once.
//
// It does two things that cannot wait for the Go runtime:
//
// The runtime maps 32 MiB for its arena index (runtime/malloc.go, arenaL2Bits)
// before anything else. A kernel in its default overcommit mode refuses that
// in a guest with less free memory (mm/mmap.c, __vm_enough_memory), so the
// mode is set to 1 first. main puts it back where memory allows.
//
// An initrd without /dev/console leaves descriptors 0 to 2 closed, and without
// /dev/null the runtime then gives up (runtime/fds_unix.go, checkfds).
//
// Every error is ignored: the runtime says better what is wrong.

#define SYS_write  1
#define SYS_open   2
#define SYS_close  3
#define SYS_getpid 39
#define SYS_fcntl  72
#define SYS_mkdir  83
#define SYS_mknod  133
#define SYS_mount  165

#define F_GETFD 1
#define O_WRONLY 1
#define O_RDWR_NOCTTY 0x102
#define S_IFCHR_0600 0x2180
#define S_IFCHR_0666 0x21b6
#define DEV_CONSOLE 0x501 // 5, 1
#define DEV_NULL 0x103    // 1, 3

DATA pathDev<>+0(SB)/8, $"/dev\x00\x00\x00\x00"
GLOBL pathDev<>(SB), RODATA, $8
DATA pathConsole<>+0(SB)/8, $"/dev/con"
DATA pathConsole<>+8(SB)/8, $"sole\x00\x00\x00\x00"
GLOBL pathConsole<>(SB), RODATA, $16
DATA pathNull<>+0(SB)/8, $"/dev/nul"
DATA pathNull<>+8(SB)/8, $"l\x00\x00\x00\x00\x00\x00\x00"
GLOBL pathNull<>(SB), RODATA, $16
DATA pathProc<>+0(SB)/8, $"/proc\x00\x00\x00"
GLOBL pathProc<>(SB), RODATA, $8
DATA nameProc<>+0(SB)/8, $"proc\x00\x00\x00\x00"
GLOBL nameProc<>(SB), RODATA, $8
DATA pathOvercommit<>+0(SB)/8, $"/proc/sy"
DATA pathOvercommit<>+8(SB)/8, $"s/vm/ove"
DATA pathOvercommit<>+16(SB)/8, $"rcommit_"
DATA pathOvercommit<>+24(SB)/8, $"memory\x00\x00"
GLOBL pathOvercommit<>(SB), RODATA, $32
DATA one<>+0(SB)/8, $"1\n\x00\x00\x00\x00\x00\x00"
GLOBL one<>(SB), RODATA, $8

TEXT ·entry(SB), NOSPLIT|NOFRAME, $0
	MOVQ $SYS_getpid, AX
	SYSCALL
	CMPQ AX, $1
	JNE  start

	// mkdir("/proc", 0755); mount("proc", "/proc", "proc",
	// MS_NOSUID|MS_NODEV|MS_NOEXEC, NULL)
	MOVQ $SYS_mkdir, AX
	LEAQ pathProc<>(SB), DI
	MOVQ $0x1ed, SI
	SYSCALL
	MOVQ $SYS_mount, AX
	LEAQ nameProc<>(SB), DI
	LEAQ pathProc<>(SB), SI
	LEAQ nameProc<>(SB), DX
	MOVQ $14, R10
	XORQ R8, R8
	SYSCALL

	MOVQ $SYS_open, AX
	LEAQ pathOvercommit<>(SB), DI
	MOVQ $O_WRONLY, SI
	XORQ DX, DX
	SYSCALL
	TESTQ AX, AX
	JLT  console
	MOVQ AX, R12
	MOVQ $SYS_write, AX
	MOVQ R12, DI
	LEAQ one<>(SB), SI
	MOVQ $2, DX
	SYSCALL
	MOVQ $SYS_close, AX
	MOVQ R12, DI
	SYSCALL

console:
	// The kernel opens all three or none (init/main.c).
	MOVQ $SYS_fcntl, AX
	MOVQ $2, DI
	MOVQ $F_GETFD, SI
	XORQ DX, DX
	SYSCALL
	TESTQ AX, AX
	JGE  start

	MOVQ $SYS_mkdir, AX
	LEAQ pathDev<>(SB), DI
	MOVQ $0x1ed, SI
	SYSCALL
	MOVQ $SYS_mknod, AX
	LEAQ pathConsole<>(SB), DI
	MOVQ $S_IFCHR_0600, SI
	MOVQ $DEV_CONSOLE, DX
	SYSCALL
	MOVQ $SYS_mknod, AX
	LEAQ pathNull<>(SB), DI
	MOVQ $S_IFCHR_0666, SI
	MOVQ $DEV_NULL, DX
	SYSCALL

	LEAQ pathConsole<>(SB), R12
open:
	MOVQ $SYS_open, AX
	MOVQ R12, DI
	MOVQ $O_RDWR_NOCTTY, SI
	XORQ DX, DX
	SYSCALL
	TESTQ AX, AX
	JLT  fallback
	CMPQ AX, $2
	JLT  open
	JMP  start

fallback:
	// A machine without a console: once, with /dev/null.
	LEAQ pathNull<>(SB), R13
	CMPQ R12, R13
	JEQ  start
	MOVQ R13, R12
	JMP  open

start:
	JMP _rt0_amd64_linux(SB)
