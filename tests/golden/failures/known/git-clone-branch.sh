# label: git-ref
git init -q ../up; git -C ../up commit -q --allow-empty -m x
#---
git clone --branch release-9 ../up copy
