# label: line-endings|file-missing
printf 'cd src\r\nmake\r\n' > b.sh; mkdir src
#---
sh b.sh
