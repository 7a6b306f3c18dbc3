# label: abstain|timeout|terminated
#---
bash -c 'kill -TERM $$'
