# label: make-target|file-missing
printf 'all:\n\techo hi\n' > Makefile
#---
make package
