# label: make-target|file-missing
printf 'app: main.o\n\tcc -o app main.o\n' > Makefile
#---
make
