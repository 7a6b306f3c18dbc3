# label: git-lock
git init -q; touch .git/HEAD.lock
#---
git commit --allow-empty -m x
