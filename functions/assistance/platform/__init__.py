"""What the functions need of AWS, Lambda and the network, whatever they do."""
