from assistance import startup as startup
