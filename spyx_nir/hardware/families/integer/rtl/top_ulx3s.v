// ULX3S (ECP5): 25 MHz, 115200 bits a second by the board's USB port US1. led[0] lights while the network
// works, led[7] after power-on until it is ready; the button FIRE1 resets.
module top_ulx3s (
    input clk_25mhz,
    input ftdi_txd,  // what the computer sends
    output ftdi_rxd,
    input [1:1] btn,
    output [7:0] led
);
    reg [8:0] boot = 0;
    reg [1:0] button = 0;
    wire rst = !boot[8];
    wire working;
    always @(posedge clk_25mhz) begin
        button <= {button[0], btn[1]};
        if (button[1]) boot <= 0;
        else if (rst) boot <= boot + 1'b1;
    end

    serial #(.DIVIDER(217)) serial (
        .clk(clk_25mhz), .rst(rst), .rx(ftdi_txd), .tx(ftdi_rxd), .working(working)
    );
    assign led = {rst, 6'b0, working};
endmodule
