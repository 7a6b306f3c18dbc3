# label: git-ref
git init -q --bare ../up.git; git init -q; git commit -q --allow-empty -m x; git remote add origin ../up.git; git push -q origin HEAD
#---
git fetch origin release/2024
git checkout FETCH_HEAD
