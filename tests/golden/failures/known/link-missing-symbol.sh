# label: compile-error|link-error
printf 'double tax(double);\nint main(){return (int)tax(1.0);}' > m.c; printf 'int other(){return 1;}' > o.c
#---
gcc -c m.c o.c
gcc -o m m.o o.o
