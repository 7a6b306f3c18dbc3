# label: disk-full
#---
node -e "require('fs').writeFileSync('/dev/full', 'x'.repeat(1e5))"
