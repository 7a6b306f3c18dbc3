# label: make-target|file-missing
#---
make build
