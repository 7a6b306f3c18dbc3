# label: git-lock
git init -q; git commit -q --allow-empty -m x; touch .git/index.lock a
#---
git add a
