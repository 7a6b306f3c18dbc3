# label: syntax-error
printf 'for i in 1 2\n  echo $i\ndone\n' > a.sh
#---
bash a.sh
