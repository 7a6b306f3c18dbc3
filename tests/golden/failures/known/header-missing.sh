# label: compile-error|library-missing
printf '#include <shop/prices.h>\nint main(){return 0;}\n' > m.c
#---
gcc -c m.c
