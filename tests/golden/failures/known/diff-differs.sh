# label: abstain
printf 'a\n' > one; printf 'b\n' > two
#---
diff one two
