# label: git-shallow|git-ref
git init -q ../full; (cd ../full; for i in 1 2 3; do git commit -q --allow-empty -m $i; done; git tag -a v2 -m v2 HEAD~2); git clone -q --depth 1 file://$PWD/../full .
#---
git describe --tags --abbrev=0
