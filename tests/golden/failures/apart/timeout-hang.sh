# label: timeout
# timeout: 3
# reason: job_execution_timeout
#---
echo "waiting for the service to become healthy"
sleep 60
