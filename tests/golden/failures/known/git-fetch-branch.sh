# label: git-ref
git init -q --bare ../up.git; git init -q; git remote add origin ../up.git
#---
git fetch origin feature/tax
