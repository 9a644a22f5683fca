from assistance.platform import startup as startup
