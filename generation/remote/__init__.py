"""What the backends share that paint in another program: its server, the files it has, what it is told."""
