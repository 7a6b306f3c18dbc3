# label: syntax-error
printf 'if [ -f a ]; then\n  echo a\n' > s.sh
#---
sh s.sh
