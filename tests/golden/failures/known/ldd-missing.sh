# label: library-missing
printf 'int x(){return 0;}' > l.c; gcc -shared -fPIC -o libtax.so l.c; printf 'int x();int main(){return x();}' > n.c; gcc -o app n.c -L. -ltax
#---
./app
