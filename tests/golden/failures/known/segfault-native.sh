# label: crash
printf 'int main(){int*p=0;return *p;}' > m.c; gcc -w -o m m.c
#---
./m
