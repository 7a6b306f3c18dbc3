# label: abstain|command-missing
printf 'build:\n\t@some-generator --out x\n' > Makefile
#---
make build
