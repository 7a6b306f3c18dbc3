# label: compile-error
printf 'all:\n\t$(MAKE) -C sub\n' > Makefile; mkdir sub; printf 'x: x.c\n\tgcc -c x.c\n' > sub/Makefile; printf 'int f() { return }\n' > sub/x.c
#---
make
