# label: git-shallow|git-ref
git init -q ../full; (cd ../full; for i in 1 2 3; do git commit -q --allow-empty -m $i; [ $i = 1 ] && git tag v1.0; done; true); git clone -q --depth 1 file://$PWD/../full .
#---
VERSION=$(git describe --tags)
