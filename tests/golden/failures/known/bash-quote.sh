# label: syntax-error
printf 'echo "abc\n' > s.sh
#---
bash s.sh
