# label: library-missing
printf 'int main(){return 0;}' > m.c; gcc -shared -o libshop.so -x c m.c; printf 'int main(){return 0;}' > n.c; gcc -Wl,--no-as-needed -o app n.c -L. -lshop
#---
./app
