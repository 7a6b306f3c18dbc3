# label: permission
printf 'echo a\n' > release.sh; chmod -x release.sh
#---
./release.sh
