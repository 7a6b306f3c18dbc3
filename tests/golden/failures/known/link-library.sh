# label: compile-error|library-missing|link-error
printf 'int main(){return 0;}' > m.c
#---
gcc -o m m.c -lshopprices
