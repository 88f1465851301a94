// iCEBreaker (iCE40UP5K): 12 MHz, 115200 bits a second by the board's USB serial port. The green lamp
// lights while the network works, the red one after power-on until it is ready; the button resets.
module top_icebreaker (
    input CLK,
    input RX,
    output TX,
    input BTN_N,
    output LEDR_N,
    output LEDG_N
);
    // Block RAMs of the UP5K read as 0 for some microseconds after configuration: 256 clocks are 21 us.
    reg [8:0] boot = 0;
    reg [1:0] button = 0;
    wire rst = !boot[8];
    wire working;
    always @(posedge CLK) begin
        button <= {button[0], BTN_N};
        if (!button[1]) boot <= 0;
        else if (rst) boot <= boot + 1'b1;
    end

    serial #(.DIVIDER(104)) serial (.clk(CLK), .rst(rst), .rx(RX), .tx(TX), .working(working));
    assign LEDR_N = !rst;
    assign LEDG_N = !working;
endmodule
