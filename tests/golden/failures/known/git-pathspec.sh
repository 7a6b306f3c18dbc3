# label: git-ref
git init -q; git commit -q --allow-empty -m x
#---
git checkout v9.9.9
