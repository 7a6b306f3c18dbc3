# label: git-shallow|git-ref
git init -q; git commit -q --allow-empty -m x
#---
git diff --name-only origin/main...HEAD
