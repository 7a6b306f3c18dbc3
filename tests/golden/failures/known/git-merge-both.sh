# label: merge-conflict
git init -q; echo a > prices.csv; git add .; git commit -q -m a; git checkout -q -b tax; git rm -q prices.csv; git commit -q -m b; git checkout -q -; echo c > prices.csv; git commit -q -a -m c
#---
git merge tax
