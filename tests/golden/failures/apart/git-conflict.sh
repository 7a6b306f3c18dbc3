# label: merge-conflict|merge-markers
git init -q; echo a > f; git add f; git commit -q -m a; git checkout -q -b side; echo b > f; git commit -q -a -m b; git checkout -q -; echo c > f; git commit -q -a -m c
#---
git merge side
