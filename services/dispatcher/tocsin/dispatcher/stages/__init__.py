"""What happens to one delivery, one stage a file. A stage takes what the one before made, or ends the delivery."""
