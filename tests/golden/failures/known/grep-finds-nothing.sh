# label: abstain
printf 'all fine\n' > notes.txt
#---
grep -c "release date" notes.txt
