# label: compile-error|link-error
printf 'int helper(int);\nint main(void) { return helper(1); }\n' > main.c
#---
gcc -o main main.c
