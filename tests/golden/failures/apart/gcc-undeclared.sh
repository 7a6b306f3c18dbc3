# label: compile-error
printf 'int main(void) { return missing_name; }\n' > main.c
#---
gcc -o main main.c
