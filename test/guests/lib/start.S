/* Entry, ELF notes, trap entries. Linked at VIRT_BASE (guest.lds). */
#define FLAT_CS 0xe033

.macro note type, value:vararg
  .long 4, 2f - 1f, \type
  .asciz "Xen"
1: \value
2: .align 4
.endm
  .section .note.xen, "a", @note
  note 6, .asciz "xenolith-test"
  note 5, .asciz "xen-3.0"
  note 8, .asciz "generic"
  note 3, .quad 0xffffffff80000000
  note 4, .quad 0xffffffff80000000
  note 1, .quad _start
  note 2, .quad hypercall_page
  note 10, .asciz "!writable_page_tables|pae_pgdir_above_4gb"
  note 9, .asciz "yes"

  .section .bss
  .align 4096
  .globl hypercall_page, stack_top, kernel_stack_top
hypercall_page: .skip 4096
  .skip 16384
stack_top:
  .skip 8192
kernel_stack_top:

  .text
  .globl _start
_start:
#ifdef FAULT_FIRST
  ud2
#endif
  cld
  lea stack_top(%rip), %rsp
  mov %rsi, %rdi
  xor %ebp, %ebp
  call guest_main
  ud2

/* One entry a vector; Xen's frame: rcx r11 [error] rip cs rflags rsp ss. */
.macro entry vector, error
entry_\vector:
  pop %rcx
  pop %r11
.if !\error
  push $0
.endif
  push $\vector
  jmp common
.endm
  .altmacro
  .set v, 0
.rept 32
  .if v == 8 || v == 10 || v == 11 || v == 12 || v == 13 || v == 14 || v == 17 || v == 30
    entry %v, 1
  .else
    entry %v, 0
  .endif
  .set v, v + 1
.endr
entry_128:
  pop %rcx
  pop %r11
  push $0
  push $128
  jmp common

/* Push what struct regs has, call trap(), go back with the iret hypercall: a word of flags on top of the frame. */
common:
  push %rax
  push %rcx
  push %rdx
  push %rbx
  push %rbp
  push %rsi
  push %rdi
  push %r8
  push %r9
  push %r10
  push %r11
  push %r12
  push %r13
  push %r14
  push %r15
  cld
  mov %rsp, %rdi
  call trap
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %r11
  pop %r10
  pop %r9
  pop %r8
  pop %rdi
  pop %rsi
  pop %rbp
  pop %rbx
  pop %rdx
  pop %rcx
  pop %rax
  add $8, %rsp
  movq $0, (%rsp)
  jmp hypercall_page + 23 * 32

  .globl event_entry
event_entry:
  pop %rcx
  pop %r11
  push $0
  push $256
  jmp common
  .globl failsafe_entry
failsafe_entry:
  ud2

/* int save(struct jump *) and void resume(struct jump *): a setjmp of our own. */
  .globl save, resume
save:
  mov (%rsp), %rax
  mov %rax, (%rdi)
  mov %rsp, 8(%rdi)
  mov %rbx, 16(%rdi)
  mov %rbp, 24(%rdi)
  mov %r12, 32(%rdi)
  mov %r13, 40(%rdi)
  mov %r14, 48(%rdi)
  mov %r15, 56(%rdi)
  xor %eax, %eax
  ret
resume:
  mov 8(%rdi), %rsp
  mov 16(%rdi), %rbx
  mov 24(%rdi), %rbp
  mov 32(%rdi), %r12
  mov 40(%rdi), %r13
  mov 48(%rdi), %r14
  mov 56(%rdi), %r15
  mov (%rdi), %rax
  mov %rax, (%rsp)
  mov $1, %eax
  ret

  .section .rodata
  .align 8
  .globl entries
entries:
  .set v, 0
.macro address n
  .quad entry_\n
.endm
.rept 32
  address %v
  .set v, v + 1
.endr
  .globl entry80
entry80: .quad entry_128
  .section .note.GNU-stack, "", @progbits
