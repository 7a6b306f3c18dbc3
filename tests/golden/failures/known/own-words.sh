# label: abstain
printf 'echo "checked 18 of 20 invoices"\necho "2 invoices do not add up"\nexit 1\n' > a.sh
#---
bash a.sh
