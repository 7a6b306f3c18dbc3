# label: crash
printf '#include <stdlib.h>\nint main(){abort();}' > m.c; gcc -w -o m m.c
#---
./m
